-- Write a record of the hot tier if its path is free, and note that it is to be carried to the cold one.
-- Returns -1 if this server may have lost records of the series, 1 if the record stands there now, 0 if another
-- does.
-- KEYS: headers, bodies, paths, seen, pending
-- ARGV: series, ttl in milliseconds, path, header, body, member
if not has_seen_all(ARGV[1]) then
  return -1
end
local stands = redis.call('HGET', KEYS[1], ARGV[3])
if stands then
  return (stands == ARGV[4] and redis.call('HGET', KEYS[2], ARGV[3]) == ARGV[5]) and 1 or 0
end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[5])
redis.call('ZADD', KEYS[3], 0, ARGV[3])
redis.call('ZADD', KEYS[5], 0, ARGV[6])
-- Records stay until they were carried over; what says that all are here must not outlive them.
for i = 1, 3 do
  redis.call('PERSIST', KEYS[i])
end
redis.call('PEXPIRE', KEYS[4], ARGV[2])
return 1
