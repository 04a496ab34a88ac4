-- Replace a run's budget. Returns 1, or 0 if it is not the one expected any more.
-- Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, budget expected, budget
local stands = redis.call('HGET', KEYS[1], 'budget') or ''
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
elseif stands == ARGV[4] then
  return 1
elseif stands ~= ARGV[3] then
  return 0
end
set(ARGV[2], 'budget', ARGV[4])
return 1
