-- Take the right to run the stage due. Returns {outcome, head as a flat list, header, body}.
-- KEYS: head, log headers, log bodies
-- ARGV: P, max crashes, run, timeline, lane, sequence, stage, owner, nonce, ordinal, lapse, look, worker
local run, owner, nonce = ARGV[3], ARGV[8], ARGV[9]
local status, timeline, lane, sequence, stage, held, trial, at, created, queue, priority,
  published, limit, token, attempt, tries = unpack(get(run, 'status', 'timeline', 'lane', 'sequence', 'stage',
  'nonce', 'trial', 'at', 'created_at', 'queue', 'priority', 'published_at',
  'time_limit_ms', 'token', 'attempt', 'tries'))

local function claimed()
  return {
    'claimed',
    redis.call('HGETALL', KEYS[1]),
    redis.call('HGET', KEYS[2], at) or '',
    redis.call('HGET', KEYS[3], at) or '',
  }
end

if not status then
  return {'unknown'}
elseif held == nonce then
  return claimed()
elseif status == 'completed' or status == 'failed' or status == 'cancelled' then
  return {'finished'}
elseif status == 'paused' or status == 'cancelling' or status == 'redirecting' then
  return {'paused'}
end
local mine, theirs = tonumber(ARGV[4]), tonumber(timeline)
if mine > theirs or (mine == theirs and tonumber(ARGV[6]) > tonumber(sequence)) then
  return {'ahead'}
elseif mine < theirs or ARGV[5] ~= lane or ARGV[6] ~= sequence or ARGV[7] ~= stage then
  return {'stale'}
elseif status == 'scheduled' then
  return {'early'}
elseif status == 'running' then
  -- Whether its owner still lives is for the looks to judge: they know whether silence proves anything.
  return {'duplicate'}
end

if trial == '1' then
  local other = redis.call('GET', dock(ARGV[13]))
  if other and other ~= key(run) and redis.call('HGET', other, 'status') == 'running' then
    enqueue(run, 0, NOW + ARGV[12])
    return {'early'}
  end
  redis.call('SET', dock(ARGV[13]), key(run))
end

if tonumber(published) > 0 then
  redis.call('ZADD', P .. 'flow', 'GT', published, queue .. '\n' .. priority)
end
local look = NOW + ARGV[12]
local deadline = tonumber(limit) > 0 and NOW + limit or 0
if deadline > 0 and deadline < look then
  look = deadline
end
redis.call('HSET', P .. 'claims:' .. owner, nonce, ARGV[10] .. ' ' .. run)
redis.call('ZADD', P .. 'owners', 'GT', NOW + ARGV[11], owner)
index(run, status, 'running', created)
set(run, 'status', 'running', 'owner', owner, 'nonce', nonce, 'worker', ARGV[13], 'token', token + 1,
  'attempt', attempt + 1, 'tries', tries + 1, 'claimed_at', NOW, 'deadline', deadline)
due(run, look)
return claimed()
