-- Begin to cancel, redirect or delete a run: from here on nobody can claim it or commit to it.
-- Returns {1, status before}, {0, status that forbids it}, or false if there is no such run. Repeating it changes nothing.
-- KEYS: head, log headers, log bodies, log paths
-- ARGV: P, run, checkpoint id, status, lease, timeline and sequence expected (or empty), place and place after
-- it, status that allows it, ...
local run = ARGV[2]
local status, timeline, sequence, intent, before = unpack(get(run, 'status', 'timeline', 'sequence', 'intent',
  'status_before'))
if not status then
  return false
elseif status == ARGV[4] and intent == ARGV[3] then
  return {1, before}
elseif not stands(run, ARGV[8], ARGV[9]) then
  return moved_on(run)
elseif ARGV[6] ~= '' and (timeline ~= ARGV[6] or sequence ~= ARGV[7]) then
  return {0, status}
end
for i = 10, #ARGV do
  if status == ARGV[i] then
    unclaim(run)
    redis.call('HINCRBY', KEYS[1], 'timeline', 1)
    redis.call('HINCRBY', KEYS[1], 'token', 1)
    become(run, ARGV[4], 'intent', ARGV[3], 'status_before', status, 'due_before',
      redis.call('ZSCORE', P .. 'due', run) or 0)
    for j = 2, 4 do
      redis.call('PERSIST', KEYS[j])
    end
    due(run, NOW + ARGV[5])
    return {1, status}
  end
end
return {0, status}
