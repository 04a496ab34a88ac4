-- Forget a run that has ended or is paused. Returns {1} or {0, status}.
-- KEYS: head    ARGV: P, run
local run = ARGV[2]
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'queued' or status == 'running' or status == 'scheduled' or status == 'cancelling' then
  return {0, status or ''}
end
forget(run)
return {1}
