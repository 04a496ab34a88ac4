-- Record a failed try: schedule the next one after a delay, or set the run aside if that is negative.
-- Returns 'failed' or 'fenced'. Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, token, nonce, error, delay
local run, delay = ARGV[2], tonumber(ARGV[6])
if not holds(run, ARGV[3], ARGV[4]) then
  return redis.call('HGET', KEYS[1], 'last_nonce') == ARGV[4] and 'failed' or 'fenced'
end
redis.call('HINCRBY', KEYS[1], 'failures', 1)
set(run, 'last_nonce', ARGV[4], 'last_cause', '')
if delay < 0 then
  set_aside(run, ARGV[5])
else
  unclaim(run)
  if redis.call('HGET', KEYS[1], 'pause') == '1' then
    become(run, 'paused', 'error', ARGV[5])
    rest(run)
  else
    become(run, 'scheduled', 'error', ARGV[5], 'published_at', 0)
    due(run, NOW + delay)
  end
end
return 'failed'
