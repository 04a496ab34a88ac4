-- Make a run, its checkpoint 0 and its first message. Returns {'created'}, {'occupied'} if
-- the log has another record there, or {'exists', head as a flat list}.
-- KEYS: head, log headers, log bodies, log paths, logs
-- ARGV: P, run, digest, path, header, body, push key, payload, delay, look, tags (JSON), field, value, ...
local run, digest, delay = ARGV[2], ARGV[3], tonumber(ARGV[9])
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'exists', redis.call('HGETALL', KEYS[1])}
end
if not write_log(KEYS[2], KEYS[3], KEYS[4], KEYS[5], run, ARGV[4], ARGV[5], ARGV[6]) then
  return {'occupied'}
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'run_id', run, 'digest', digest, 'created_at', time[1] * 1000000 + time[2],
  'tags', ARGV[11], unpack(ARGV, 12))
local created, pipeline, tenant = unpack(get(run, 'created_at', 'pipeline', 'tenant'))
index_new(run, pipeline, tenant, cjson.decode(ARGV[11]), created)
if delay > 0 then
  become(run, 'scheduled', 'published_at', 0)
  due(run, NOW + delay)
else
  enqueue(run, push(ARGV[7], ARGV[8]), NOW + ARGV[10])
end
return {'created'}
