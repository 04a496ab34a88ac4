-- Note that the log knows of a run's status. Returns 1, or 0 if that has changed.
-- KEYS: head    ARGV: P, run, status, timeline, sequence
local run = ARGV[2]
local status, timeline, sequence = unpack(get(run, 'status', 'timeline', 'sequence'))
if status ~= ARGV[3] or timeline ~= ARGV[4] or sequence ~= ARGV[5] then
  return 0
end
set(run, 'marked', status)
undue(run)
return 1
