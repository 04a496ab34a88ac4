-- List a series backwards from before a path: {path, header, body length, path, ...}.
-- KEYS: headers, bodies, paths    ARGV: series, path to stay below ('' for none), limit
local top = ARGV[2] == '' and '[' .. ARGV[1] .. '\255' or '(' .. ARGV[2]
local paths = redis.call('ZREVRANGEBYLEX', KEYS[3], top, '[' .. ARGV[1], 'LIMIT', 0, ARGV[3])
local reply = {}
for _, path in ipairs(paths) do
  reply[#reply + 1] = path
  reply[#reply + 1] = redis.call('HGET', KEYS[1], path)
  reply[#reply + 1] = redis.call('HSTRLEN', KEYS[2], path)
end
return reply
