-- Commit the stage: record the checkpoint, free the claim and enqueue what is next, or end the run.
-- Returns 'advanced', 'fenced' or 'occupied'. Repeating it changes nothing.
-- KEYS: head, log headers, log bodies, log paths, logs
-- ARGV: P, run, token, nonce, checkpoint id, path, sequence, timeline, status, ttl,
--       push key, payload, look, header, body, then field, value, ... of the stage next due
local run = ARGV[2]
if redis.call('HGET', KEYS[1], 'checkpoint_id') == ARGV[5] then
  return 'advanced'
elseif not holds(run, ARGV[3], ARGV[4]) then
  return 'fenced'
elseif not write_log(KEYS[2], KEYS[3], KEYS[4], KEYS[5], run, ARGV[6], ARGV[14], ARGV[15]) then
  return 'occupied'
end
unclaim(run)
redis.call('HINCRBY', KEYS[1], 'stages_done', 1)
set(run, 'checkpoint_id', ARGV[5], 'at', ARGV[6], 'sequence', ARGV[7], 'timeline', ARGV[8],
  'attempt', 0, 'failures', 0, 'crashes', 0, 'suspicions', 0, 'trial', 0, 'error', '', unpack(ARGV, 16))
if ARGV[9] == 'queued' then
  local paused = redis.call('HGET', KEYS[1], 'pause') == '1'
  enqueue(run, paused and 0 or push(ARGV[11], ARGV[12]), NOW + ARGV[13])
else
  become(run, ARGV[9], 'finished_at', NOW)
  retain(run, ARGV[10])
end
return 'advanced'
