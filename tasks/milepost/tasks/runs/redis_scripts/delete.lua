-- Forget a run that has ended or is paused. Returns {1} or {0, status}.
-- KEYS: head    ARGV: P, run, place and place after it, status that allows it, ...
local run = ARGV[2]
local status = redis.call('HGET', KEYS[1], 'status')
if status and not stands(run, ARGV[3], ARGV[4]) then
  return moved_on(run)
end
for i = 5, #ARGV do
  if status == ARGV[i] then
    forget(run)
    return {1}
  end
end
return {0, status or ''}
