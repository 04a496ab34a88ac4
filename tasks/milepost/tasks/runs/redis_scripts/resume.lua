-- Let a failed, paused or waiting run move again; a failed one on a new timeline with all counts at zero.
-- Returns {1} or {0, status}. The caller publishes; should it die, the reconciler does.
-- KEYS: head    ARGV: P, run, status expected
local run, status = ARGV[2], redis.call('HGET', KEYS[1], 'status')
if status ~= ARGV[3] then
  return {0, status or ''}
end
if status == 'failed' then
  redis.call('HINCRBY', KEYS[1], 'timeline', 1)
  redis.call('HINCRBY', KEYS[1], 'token', 1)
  set(run, 'attempt', 0, 'failures', 0, 'crashes', 0, 'suspicions', 0, 'trial', 0, 'finished_at', 0)
end
if status == 'running' then
  set(run, 'pause', 0)
else
  set(run, 'pause', 0)
  enqueue(run, 0, NOW)
end
return {1}
