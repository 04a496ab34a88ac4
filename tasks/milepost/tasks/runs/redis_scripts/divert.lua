-- Open a new timeline for the holder of a claim whose number is taken by a stray record.
-- Returns the timeline, or 0 if the claim is lost.
-- KEYS: head    ARGV: P, run, token, nonce
if not holds(ARGV[2], ARGV[3], ARGV[4]) then
  return 0
end
return redis.call('HINCRBY', KEYS[1], 'timeline', 1)
