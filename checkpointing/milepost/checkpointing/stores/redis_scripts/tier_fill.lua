-- Put what the cold tier has for last into the hot one, and note that this server has seen all of the series.
-- Returns 0 if the run was deleted, or its expiry set, since the cold tier was asked: then it is to be asked
-- again.
-- KEYS: headers, bodies, paths, seen, pending, generation
-- ARGV: series, ttl in milliseconds, path ('' for none), header, body, when the run's time is over ('' for
--       never), the generation before the cold tier was asked, what members of the run begin with
if (redis.call('GET', KEYS[6]) or '') ~= ARGV[7] then
  return 0
end
local waits = #redis.call('ZRANGEBYLEX', KEYS[5], '[' .. ARGV[8], '[' .. ARGV[8] .. '\255', 'LIMIT', 0, 1) > 0
if is_over() or (not waits and redis.call('EXISTS', KEYS[4]) == 0) then
  -- An earlier life of the run id; or records of which nobody knows whether they are all.
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
end
if ARGV[3] ~= '' and redis.call('HSETNX', KEYS[1], ARGV[3], ARGV[4]) == 1 then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[5])
  redis.call('ZADD', KEYS[3], 0, ARGV[3])
end
redis.call('HSET', KEYS[4], ARGV[1], server())
if ARGV[6] == '' then
  redis.call('HDEL', KEYS[4], '!until')
else
  redis.call('HSET', KEYS[4], '!until', ARGV[6])
end
-- What says that all is here must not outlive what is here, nor the other way round.
for i = 1, 4 do
  if i == 4 or not waits then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
end
return 1
