-- List run ids of one shard after a name, forgetting those whose records have expired.
-- KEYS: runs    ARGV: what the key of a run's paths begins with, name to stay above ('' for none), limit
local reply, from = {}, ARGV[2] == '' and '-' or '(' .. ARGV[2]
local wanted = tonumber(ARGV[3])
while #reply < wanted do
  local names = redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, wanted)
  for _, name in ipairs(names) do
    if redis.call('EXISTS', ARGV[1] .. name) == 0 then
      redis.call('ZREM', KEYS[1], name)
    elseif #reply < wanted then
      reply[#reply + 1] = name
    end
    from = '(' .. name
  end
  if #names < wanted then
    break
  end
end
return reply
