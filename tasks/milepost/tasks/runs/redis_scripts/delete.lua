-- Forget a run that has ended or is paused. Returns {1} or {0, status}.
-- KEYS: head    ARGV: P, run, status that allows it, ...
local run = ARGV[2]
local status = redis.call('HGET', KEYS[1], 'status')
for i = 3, #ARGV do
  if status == ARGV[i] then
    forget(run)
    return {1}
  end
end
return {0, status or ''}
