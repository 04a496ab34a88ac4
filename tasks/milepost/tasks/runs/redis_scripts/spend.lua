-- Note what a try has spent in all, and whether what it was spent on stands.
-- Returns 1, or 0 if the claim is lost. Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, token, nonce, spent, kept
local run = ARGV[2]
if not holds(run, ARGV[3], ARGV[4]) then
  return 0
end
set(run, 'spent_try', ARGV[5])
if ARGV[6] == '1' then
  set(run, 'spent_kept', ARGV[5], 'kept_at', NOW)
end
return 1
