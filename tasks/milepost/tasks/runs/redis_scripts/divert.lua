-- Open a new timeline for the holder of a claim whose number is taken by a stray record.
-- Returns the timeline, or 0 if the claim is lost. Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, token, nonce, timeline of the claim
if not holds(ARGV[2], ARGV[3], ARGV[4]) then
  return 0
end
local timeline = tonumber(ARGV[5]) + 1
set(ARGV[2], 'timeline', timeline)
return timeline
