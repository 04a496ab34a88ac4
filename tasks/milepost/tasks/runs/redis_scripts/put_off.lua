-- Let a run wait that is queued, or whose claim has the nonce: for a delay, or paused if that is negative; the
-- error says why. Returns 1, or 0 if the run has moved on. Repeating it changes nothing.
-- KEYS: head    ARGV: P, run, timeline, sequence, nonce, delay, error, ran
local run, nonce, delay = ARGV[2], ARGV[5], tonumber(ARGV[6])
local wanted = delay < 0 and 'paused' or 'scheduled'
local status, timeline, sequence, holder, last = unpack(get(run, 'status', 'timeline', 'sequence', 'nonce',
  'last_nonce'))
if timeline ~= ARGV[3] or sequence ~= ARGV[4] then
  return 0
elseif status == wanted and last == nonce then
  return 1
elseif holder ~= nonce or status ~= (nonce == '' and 'queued' or 'running') then
  return 0
end
unclaim(run)
if nonce ~= '' and ARGV[8] == '0' then
  redis.call('HINCRBY', KEYS[1], 'attempt', -1)
  redis.call('HINCRBY', KEYS[1], 'tries', -1)
end
if delay < 0 or redis.call('HGET', KEYS[1], 'pause') == '1' then
  become(run, 'paused', 'error', ARGV[7], 'published_at', 0, 'last_nonce', nonce)
  rest(run)
else
  become(run, 'scheduled', 'error', ARGV[7], 'published_at', 0, 'last_nonce', nonce)
  due(run, NOW + delay)
end
return 1
