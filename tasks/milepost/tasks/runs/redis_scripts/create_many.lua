-- Make runs of one shard, each with its checkpoint 0 and its first message. Returns for those that were not
-- made their number among those given and {'occupied'} if the log has another record there, or {'exists', head
-- as a flat list}.
-- KEYS: the head of one of them
-- ARGV: P, tenant, path, push key, delay, look, tags (JSON), pipeline, how many fields and values follow, field, value,
--       ... and then for each run: run, digest, checkpoint id, header, body, payload
local tenant, path, queue, delay, tags, pipeline = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[7], ARGV[8]
local time = redis.call('TIME')
local created = time[1] * 1000000 + time[2]
local status = delay > 0 and 'scheduled' or 'queued'
local look = NOW + (delay > 0 and delay or tonumber(ARGV[6]))
local count = tonumber(ARGV[9])
local shared = {'status', status, 'updated_at', NOW, unpack(ARGV, 10, 9 + count)}
if delay == 0 and queue ~= '' then
  shared[#shared + 1] = 'published_at'
  shared[#shared + 1] = NOW
end
local headers, bodies, paths = P .. 'log:headers:', P .. 'log:bodies:', P .. 'log:paths:'
local refused, by_age, by_look, logs, payloads = {}, {}, {}, {}, {}
for i = 10 + count, #ARGV, 6 do
  local run, header = ARGV[i], ARGV[i + 3]
  local refusal
  if redis.call('EXISTS', key(run)) == 1 then
    refusal = {'exists', redis.call('HGETALL', key(run))}
  elseif header ~= '' and redis.call('HSETNX', headers .. run, path, header) == 0
    and redis.call('HGET', headers .. run, path) ~= header then
    refusal = {'occupied'}
  end
  if refusal then
    refused[#refused + 1] = (i - 10 - count) / 6 + 1
    refused[#refused + 1] = refusal
  else
    if header ~= '' then
      redis.call('HSET', bodies .. run, path, ARGV[i + 4])
      redis.call('ZADD', paths .. run, 0, path)
      logs[#logs + 1] = 0
      logs[#logs + 1] = run
    end
    redis.call('HSET', key(run), 'run_id', run, 'digest', ARGV[i + 1], 'checkpoint_id', ARGV[i + 2],
      'created_at', created, unpack(shared))
    by_age[#by_age + 1] = created
    by_age[#by_age + 1] = run
    by_look[#by_look + 1] = look
    by_look[#by_look + 1] = run
    payloads[#payloads + 1] = ARGV[i + 5]
    created = created + 1
  end
end
if #by_age == 0 then
  return refused
end
local indexes = {'runs', 'status:' .. status, 'pipeline:' .. pipeline}
if tenant ~= '' then
  indexes[#indexes + 1] = 'tenant:' .. tenant
end
for _, tag in ipairs(cjson.decode(tags)) do
  indexes[#indexes + 1] = 'tag:' .. tag
end
redis.call('SADD', P .. 'pipelines', pipeline)
for _, name in ipairs(indexes) do
  redis.call('ZADD', P .. name, unpack(by_age))
end
redis.call('ZADD', P .. 'due', unpack(by_look))
if #logs > 0 then
  redis.call('ZADD', P .. 'logs', unpack(logs))
end
if delay == 0 and queue ~= '' then
  redis.call('LPUSH', queue, unpack(payloads))
end
return refused
