-- An owner lives and holds the nonces it names. Frees claims of its that it does not name (of those
-- made up to as_of: younger ones it could not know of) and returns the nonces it has lost.
-- KEYS: none    ARGV: '', max crashes, owner, lapse, as_of, leaving, number of prefixes, prefix ..., nonce ...
local owner, as_of, prefixes = ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[7])
local named, standing, lost = {}, {}, {}
for i = 8 + prefixes, #ARGV do
  named[ARGV[i]] = true
end
for i = 8, 7 + prefixes do
  P = ARGV[i]
  redis.call('ZADD', P .. 'owners', NOW + ARGV[4], owner)
  redis.call('SREM', P .. 'spared', owner)
  if ARGV[6] == '1' then
    redis.call('SADD', P .. 'leaving', owner)
  end
  local claims = redis.call('HGETALL', P .. 'claims:' .. owner)
  for j = 1, #claims, 2 do
    local ordinal, run = claims[j + 1]:match('^(%d+) (.*)$')
    if named[claims[j]] then
      standing[claims[j]] = true
    elseif tonumber(ordinal) <= as_of then
      if redis.call('HGET', key(run), 'nonce') == claims[j] then
        take_away(run, 'leak', ARGV[2])
      end
      redis.call('HDEL', P .. 'claims:' .. owner, claims[j])
    end
  end
end
for nonce in pairs(named) do
  if not standing[nonce] then
    lost[#lost + 1] = nonce
  end
end
return lost
