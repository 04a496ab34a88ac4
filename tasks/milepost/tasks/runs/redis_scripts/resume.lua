-- Let a failed, paused or waiting run move again; a failed one on a new timeline with all counts at zero.
-- Returns {1} or {0, status}. The caller publishes; should it die, the reconciler does.
-- Repeating it before anyone published changes nothing.
-- KEYS: head    ARGV: P, run, status, timeline and sequence expected, place and place after it
local run, expected = ARGV[2], ARGV[3]
local status, timeline, sequence, published = unpack(get(run, 'status', 'timeline', 'sequence', 'published_at'))
if not status then
  return {0, ''}
elseif sequence ~= ARGV[5] then
  return stands(run, ARGV[6], '') and {0, status} or moved_on(run)
elseif status == 'queued' and published == '0' and expected ~= 'running' then
  local opened = tonumber(ARGV[4]) + (expected == 'failed' and 1 or 0)
  return {tonumber(timeline) == opened and 1 or 0, status}
elseif not stands(run, ARGV[6], ARGV[7]) then
  return moved_on(run)
elseif status ~= expected or timeline ~= ARGV[4] then
  return {0, status}
end
if status == 'failed' then
  redis.call('HINCRBY', KEYS[1], 'timeline', 1)
  redis.call('HINCRBY', KEYS[1], 'token', 1)
  set(run, 'attempt', 0, 'failures', 0, 'crashes', 0, 'suspicions', 0, 'trial', 0, 'finished_at', 0)
end
set(run, 'pause', 0, 'marked', '')
if status == 'paused' then
  set(run, 'error', '')
end
if status ~= 'running' then
  enqueue(run, 0, NOW)
end
return {1}
