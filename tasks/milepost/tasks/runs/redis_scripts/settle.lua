-- End the cancelling: its checkpoint stands in the log. Returns 1, or 0 if it was not under way.
-- KEYS: head, log headers, log bodies, log paths, logs
-- ARGV: P, run, checkpoint id, path, sequence, ttl, header, body
local run = ARGV[2]
if redis.call('HGET', KEYS[1], 'status') ~= 'cancelling' or redis.call('HGET', KEYS[1], 'intent') ~= ARGV[3] then
  return 0
end
write_log(KEYS[2], KEYS[3], KEYS[4], KEYS[5], run, ARGV[4], ARGV[7], ARGV[8])
become(run, 'cancelled', 'intent', '', 'checkpoint_id', ARGV[3], 'at', ARGV[4], 'sequence', ARGV[5],
  'stage', '', 'finished_at', NOW)
undue(run)
retain(run, ARGV[6])
return 1
