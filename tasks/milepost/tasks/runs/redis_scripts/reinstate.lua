-- Make the head of a run that is known from its log. Returns 1, or 0 if another is there.
-- KEYS: head    ARGV: P, run, tags (JSON), pipeline, status, token, ttl, delay, field, value, ...
local run, status = ARGV[2], ARGV[5]
if redis.call('EXISTS', KEYS[1]) == 1 then
  return get(run, 'token')[1] == ARGV[6] and 1 or 0
end
local time = redis.call('TIME')
local created = time[1] * 1000000 + time[2]
redis.call('HSET', KEYS[1], 'run_id', run, 'created_at', created, unpack(ARGV, 9))
index_new(run, ARGV[4], get(run, 'tenant')[1], cjson.decode(ARGV[3]), created)
if status == 'failed' then
  set(run, 'finished_at', NOW)
end
become(run, status)
if status == 'queued' then
  due(run, NOW)
elseif status == 'scheduled' then
  due(run, NOW + ARGV[8])
elseif status == 'completed' or status == 'cancelled' then
  set(run, 'finished_at', NOW)
  retain(run, ARGV[7])
else
  rest(run)
end
return 1
