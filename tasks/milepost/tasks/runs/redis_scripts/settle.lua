-- End the cancelling: its checkpoint stands in the log. Returns 1, or 0 if it was not under way.
-- Repeating it changes nothing.
-- KEYS: head, log headers, log bodies, log paths, logs
-- ARGV: P, run, checkpoint id, path, sequence, ttl, header, body
local run = ARGV[2]
local status, intent, checkpoint = unpack(get(run, 'status', 'intent', 'checkpoint_id'))
if status == 'cancelled' and checkpoint == ARGV[3] then
  return 1
elseif status ~= 'cancelling' or intent ~= ARGV[3] then
  return 0
end
write_log(KEYS[2], KEYS[3], KEYS[4], KEYS[5], run, ARGV[4], ARGV[7], ARGV[8])
become(run, 'cancelled', 'intent', '', 'checkpoint_id', ARGV[3], 'at', ARGV[4], 'sequence', ARGV[5],
  'stage', '', 'finished_at', NOW)
retain(run, ARGV[6])
return 1
