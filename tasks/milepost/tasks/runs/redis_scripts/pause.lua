-- Stop a run before its next stage. Returns its status then, or false if there is no such run.
-- KEYS: head    ARGV: P, run, place and place after it
local run = ARGV[2]
local status = redis.call('HGET', KEYS[1], 'status')
if status and not stands(run, ARGV[3], ARGV[4]) then
  return moved_on(run)
elseif status == 'queued' or status == 'scheduled' then
  become(run, 'paused', 'pause', 1)
  rest(run)
  return 'paused'
elseif status == 'running' then
  set(run, 'pause', 1)
end
return status
