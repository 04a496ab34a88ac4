-- Write a record if its path is free. Returns 1 if it stands there now, 0 if another does.
-- KEYS: headers, bodies, paths, runs    ARGV: run id, path, header, body, ttl in milliseconds (0 for none)
local stands = redis.call('HGET', KEYS[1], ARGV[2])
if stands then
  return (stands == ARGV[3] and redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[4]) and 1 or 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4])
if redis.call('ZADD', KEYS[3], 0, ARGV[2]) == 1 and redis.call('ZCARD', KEYS[3]) == 1 then
  redis.call('ZADD', KEYS[4], 0, ARGV[1])
end
if tonumber(ARGV[5]) > 0 then
  for i = 1, 3 do
    redis.call('PEXPIRE', KEYS[i], ARGV[5])
  end
end
return 1
