-- Note how far a stage that still runs has come, and write its record if the log is here.
-- What it has spent until now was of use. Returns 1, or 0 if the claim is lost. Repeating it changes nothing.
-- KEYS: head, log headers, log bodies, log paths, logs
-- ARGV: P, run, token, nonce, path, progress, header, body
local run = ARGV[2]
if not holds(run, ARGV[3], ARGV[4]) then
  return 0
end
write_log(KEYS[2], KEYS[3], KEYS[4], KEYS[5], run, ARGV[5], ARGV[7], ARGV[8])
set(run, 'progress_at', ARGV[5], 'progress', ARGV[6], 'kept_at', NOW,
  'spent_kept', redis.call('HGET', KEYS[1], 'spent_try') or '')
return 1
