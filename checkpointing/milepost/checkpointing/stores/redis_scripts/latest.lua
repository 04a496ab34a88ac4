-- Return {path, header, body} of the last record of a series, or an empty list.
-- KEYS: headers, bodies, paths    ARGV: series
local found = redis.call('ZREVRANGEBYLEX', KEYS[3], '[' .. ARGV[1] .. '\255', '[' .. ARGV[1], 'LIMIT', 0, 1)
if #found == 0 then
  return {}
end
return {found[1], redis.call('HGET', KEYS[1], found[1]), redis.call('HGET', KEYS[2], found[1])}
