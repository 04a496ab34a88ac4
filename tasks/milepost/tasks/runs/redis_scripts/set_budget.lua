-- Replace a run's budget. Returns 1, or 0 if it is not the one expected any more.
-- Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, budget expected, budget, place and place after it
local budget = redis.call('HGET', KEYS[1], 'budget') or ''
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
elseif budget == ARGV[4] then
  return 1
elseif not stands(ARGV[2], ARGV[5], ARGV[6]) then
  return moved_on(ARGV[2])
elseif budget ~= ARGV[3] then
  return 0
end
set(ARGV[2], 'budget', ARGV[4])
return 1
