-- End the deletion of a run: forget it. Returns 1, or 0 if it was not under way. Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, intent
local run = ARGV[2]
local status, intent = unpack(get(run, 'status', 'intent'))
if not status then
  return 1
elseif status ~= 'deleting' or intent ~= ARGV[3] then
  return 0
end
forget(run)
return 1
