-- Return {header, body} of a record in the hot tier, or an empty list if it is not there, or its run's time is
-- over.
-- KEYS: headers, bodies, paths, seen    ARGV: path
local header = redis.call('HGET', KEYS[1], ARGV[1])
if not header or is_over() then
  return {}
end
return {header, redis.call('HGET', KEYS[2], ARGV[1])}
