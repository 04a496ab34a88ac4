-- Begin to cancel: from here on nobody can claim the run or commit to it. Returns {status before}.
-- KEYS: head    ARGV: P, run, checkpoint id, lease
local run, status = ARGV[2], redis.call('HGET', KEYS[1], 'status')
if not status or status == 'completed' or status == 'cancelled' or status == 'cancelling' then
  return status
end
unclaim(run)
redis.call('HINCRBY', KEYS[1], 'timeline', 1)
redis.call('HINCRBY', KEYS[1], 'token', 1)
become(run, 'cancelling', 'intent', ARGV[3])
due(run, NOW + ARGV[4])
return status
