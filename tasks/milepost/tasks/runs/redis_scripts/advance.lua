-- Commit the stage: record the checkpoint, free the claim and enqueue what is next, or end the run.
-- Returns 'advanced', 'fenced' or 'occupied', or 'given' if the stage next due was given to an owner that bids
-- for it, who reads the head next. Repeating it changes nothing.
-- KEYS: head, log headers, log bodies, log paths, logs
-- ARGV: P, run, token, nonce, checkpoint id, path, sequence, timeline, status, ttl,
--       push key, payload, look, header, body, spent, bytes, and of the bid: owner ('': none), nonce, ordinal,
--       worker, lapse, then field, value, ... of what else becomes another: of the stage next due, say
local run = ARGV[2]
local commit, token, nonce, owner, trial, worker, pause, was, created, done, claimed, worked, written, useful,
  try, kept, progress, crashes, suspicions = unpack(get(run, 'checkpoint_id', 'token', 'nonce', 'owner', 'trial', 'worker', 'pause', 'status',
  'created_at', 'stages_done', 'claimed_at', 'worked_ms', 'written_bytes', 'spent_useful', 'spent_try', 'kept_at', 'progress_at',
  'crashes', 'suspicions'))
if commit == ARGV[5] then
  return ARGV[18] ~= '' and nonce == ARGV[19] and 'given' or 'advanced'
elseif token ~= ARGV[3] or nonce ~= ARGV[4] or nonce == '' then
  return 'fenced'
elseif not write_log(KEYS[2], KEYS[3], KEYS[4], KEYS[5], run, ARGV[6], ARGV[14], ARGV[15]) then
  return 'occupied'
end
redis.call('HDEL', P .. 'claims:' .. owner, nonce)
if trial == '1' then
  end_trial(run, worker)
end
local status, published = ARGV[9], 0
if status == 'queued' and pause == '1' then
  status = 'paused'
elseif status == 'queued' and ARGV[18] ~= '' then
  status = 'running'
elseif status == 'queued' then
  published = push(ARGV[11], ARGV[12])
else
  redis.call('HSET', KEYS[1], 'pause', 0, 'finished_at', NOW)
end
index(run, was, status, created)
local spent = ARGV[16] ~= '' and ARGV[16] or try
if spent ~= '' then
  set(run, 'spent_try', '', 'spent_kept', '', 'spent_useful', add(useful, spent, 1))
end
if crashes + suspicions > 0 then
  redis.call('ZREM', P .. 'struggling', run)
end
if kept ~= '0' or progress ~= '' then
  redis.call('HDEL', KEYS[1], 'kept_at', 'progress_at', 'progress')
end
set(run, 'status', status, 'owner', '', 'nonce', '', 'checkpoint_id', ARGV[5], 'at', ARGV[6], 'sequence',
  ARGV[7], 'timeline', ARGV[8], 'stages_done', done + 1, 'attempt', 0, 'published_at', published, 'worked_ms',
  worked + NOW - claimed, 'written_bytes', written + ARGV[17], unpack(ARGV, 23))
if status == 'running' then
  give(run, unpack(ARGV, 18, 22))
  return 'given'
elseif status == 'queued' then
  due(run, NOW + ARGV[13])
elseif status == 'paused' then
  rest(run)
else
  retain(run, ARGV[10])
end
return 'advanced'
