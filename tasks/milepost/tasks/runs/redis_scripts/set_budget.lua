-- Replace a run's budget. Returns 1, or 0 if it was replaced since the caller read its head.
-- Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, budget and calls expected, budget, calls, call, place and place after it
local budget, calls = unpack(get(ARGV[2], 'budget', 'budget_calls'))
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
elseif (' ' .. calls .. ' '):find(' ' .. ARGV[7] .. ' ', 1, true) then
  return 1
elseif not stands(ARGV[2], ARGV[8], ARGV[9]) then
  return moved_on(ARGV[2])
elseif budget ~= ARGV[3] or calls ~= ARGV[4] then
  return 0
end
set(ARGV[2], 'budget', ARGV[5], 'budget_calls', ARGV[6])
return 1
