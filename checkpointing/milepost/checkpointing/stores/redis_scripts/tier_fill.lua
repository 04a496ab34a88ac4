-- Put what the cold tier has for last into the hot one, and note that this server has seen all of the series.
-- KEYS: headers, bodies, paths, seen
-- ARGV: series, ttl in milliseconds, path ('' for none), header, body, when the run's time is over ('' for never)
if is_over() then
  -- An earlier life of the run id.
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
redis.call('PEXPIRE', KEYS[4], ARGV[2])
return 1
