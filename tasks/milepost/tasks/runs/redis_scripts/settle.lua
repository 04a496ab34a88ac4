-- End what was intended: its checkpoint stands in the log. Returns 1, or 0 if it was not under way.
-- Repeating it changes nothing.
-- KEYS: head, log headers, log bodies, log paths, logs
-- ARGV: P, run, intent, checkpoint id, path, sequence, status, ttl, header, body, then field, value, ...
local run, wanted = ARGV[2], ARGV[7]
local status, intent, checkpoint, due_before = unpack(get(run, 'status', 'intent', 'checkpoint_id',
  'due_before'))
if (status ~= 'cancelling' and status ~= 'redirecting') or intent ~= ARGV[3] then
  return checkpoint == ARGV[4] and 1 or 0
end
write_log(KEYS[2], KEYS[3], KEYS[4], KEYS[5], run, ARGV[5], ARGV[9], ARGV[10])
set(run, 'intent', '', 'status_before', '', 'due_before', 0, 'checkpoint_id', ARGV[4], 'at', ARGV[5], 'sequence',
  ARGV[6], 'published_at', 0, 'marked', '', 'progress', '', 'progress_at', '', unpack(ARGV, 11))
if wanted == 'failed' then
  become(run, wanted)
  rest(run)
elseif wanted == 'completed' or wanted == 'cancelled' then
  become(run, wanted, 'stage', '', 'queue', '', 'pause', 0, 'finished_at', NOW)
  retain(run, ARGV[8])
else
  redis.call('ZREM', P .. 'struggling', run)
  set(run, 'attempt', 0, 'failures', 0, 'crashes', 0, 'suspicions', 0, 'trial', 0, 'error', '', 'finished_at', 0)
  if wanted == 'paused' then
    become(run, wanted)
    rest(run)
  elseif wanted == 'scheduled' then
    become(run, wanted)
    due(run, tonumber(due_before))
  else
    enqueue(run, 0, NOW)
  end
end
return 1
