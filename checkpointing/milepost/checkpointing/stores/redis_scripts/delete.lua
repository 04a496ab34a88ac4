-- Remove one record, if the other one is there. Returns how many were removed.
-- KEYS: headers, bodies, paths, runs    ARGV: run id, path, path of the other one or empty
if ARGV[3] ~= '' and redis.call('HEXISTS', KEYS[1], ARGV[3]) == 0 then
  return 0
end
local removed = redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('ZREM', KEYS[4], ARGV[1])
end
return removed
