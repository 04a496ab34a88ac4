-- A queued run's message is published (now, by push; or by the caller, just before), or its look is put
-- off. Returns 1, or 0 if the run has moved on since the caller read its head.
-- KEYS: head    ARGV: P, run, timeline, sequence, published_at expected, push key, payload, published, patience
local run = ARGV[2]
local status, timeline, sequence, published, attempt =
  unpack(get(run, 'status', 'timeline', 'sequence', 'published_at', 'attempt'))
if status ~= 'queued' or timeline ~= ARGV[3] or sequence ~= ARGV[4] or published ~= ARGV[5] then
  return 0
end
push(ARGV[6], ARGV[7], attempt ~= '0')
set(run, 'published_at', ARGV[8] == '1' and NOW or published, 'patience_ms', ARGV[9])
due(run, NOW + ARGV[9])
return 1
