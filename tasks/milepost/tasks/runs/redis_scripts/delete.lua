-- Forget a run that has ended or is paused. Returns {1} or {0, status}.
-- KEYS: head    ARGV: P, run
local run = ARGV[2]
local status, tags = unpack(get(run, 'status', 'tags'))
if not status or status == 'queued' or status == 'running' or status == 'scheduled' or status == 'cancelling' then
  return {0, status or ''}
end
index(run, status, false)
for _, tag in ipairs(cjson.decode(tags)) do
  redis.call('ZREM', P .. 'tag:' .. tag, run)
end
undue(run)
redis.call('DEL', KEYS[1])
return {1}
