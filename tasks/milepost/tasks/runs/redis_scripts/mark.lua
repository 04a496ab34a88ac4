-- Note whether the log knows of a run's status; if not, looks return it from some time on.
-- Returns 1, or 0 if the status has changed. Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, status, timeline, sequence, delay (-1: the log knows)
local run, delay = ARGV[2], tonumber(ARGV[6])
local status, timeline, sequence = unpack(get(run, 'status', 'timeline', 'sequence'))
if status ~= ARGV[3] or timeline ~= ARGV[4] or sequence ~= ARGV[5] then
  return 0
end
if delay < 0 then
  set(run, 'marked', status)
  undue(run)
else
  set(run, 'marked', '')
  due(run, NOW + delay)
end
return 1
