-- Take the right to run the stage due. Returns {outcome, header, body}; the head is read by the caller, next.
-- KEYS: head, log headers, log bodies
-- ARGV: P, max crashes, run, timeline, lane, sequence, stage, owner, nonce, ordinal, worker, lapse
local run, nonce, worker = ARGV[3], ARGV[9], ARGV[11]
local status, timeline, lane, sequence, stage, held, trial, at, queue, priority, published, attempt =
  unpack(get(run, 'status', 'timeline', 'lane', 'sequence', 'stage', 'nonce', 'trial', 'at', 'queue', 'priority',
    'published_at', 'attempt'))

local function claimed()
  return {
    'claimed',
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
elseif status == 'paused' or status == 'cancelling' or status == 'redirecting' or status == 'deleting' then
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
  local other = redis.call('GET', dock(worker))
  if other and other ~= key(run) and redis.call('HGET', other, 'status') == 'running' then
    enqueue(run, 0, NOW + ARGV[12])
    return {'early'}
  end
  redis.call('SET', dock(worker), key(run))
end

-- A message that went ahead says nothing of those before which it was published.
if tonumber(published) > 0 and attempt == '0' then
  redis.call('ZADD', P .. 'flow', 'GT', published, queue .. '\n' .. priority)
end
give(run, ARGV[8], nonce, ARGV[10], worker, ARGV[12])
return claimed()
