-- Return {header, body} of a record in the hot tier, or an empty list if the cold one is to be asked.
-- KEYS: headers, bodies, paths, seen, pending    ARGV: path, member
local header = redis.call('HGET', KEYS[1], ARGV[1])
if not header or is_over() then
  return {}
elseif redis.call('EXISTS', KEYS[4]) == 0 and not redis.call('ZSCORE', KEYS[5], ARGV[2]) then
  return {}
end
return {header, redis.call('HGET', KEYS[2], ARGV[1])}
