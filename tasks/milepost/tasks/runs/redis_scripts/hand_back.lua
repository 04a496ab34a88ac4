-- Give up a claim without counting it, and enqueue the stage again. Returns 'queued' or 'fenced'.
-- Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, token, nonce, push key, payload, look
local run = ARGV[2]
if not holds(run, ARGV[3], ARGV[4]) then
  return redis.call('HGET', KEYS[1], 'last_nonce') == ARGV[4] and 'queued' or 'fenced'
end
unclaim(run)
set(run, 'last_cause', 'leaving', 'last_nonce', ARGV[4])
local paused = redis.call('HGET', KEYS[1], 'pause') == '1'
enqueue(run, paused and 0 or push(ARGV[5], ARGV[6], true), NOW + ARGV[7])
return 'queued'
