-- Shared by all operations on runs. P is what every key of the shard begins with, NOW is the store's
-- clock in milliseconds. A head is the hash P..run:<id>; see milepost.tasks.head for its fields.
local P, NOW = ARGV[1], 0
do
  local time = redis.call('TIME')
  NOW = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function key(run)
  return P .. 'run:' .. run
end

-- A field that a head has not is empty, or this; that it has no status says that there is no such run.
local DEFAULTS = {
  lane = 'main', tags = '[]', timeline = '0', sequence = '0', priority = '0',
  time_limit_ms = '0', stages_done = '0', token = '0', ordinal = '0', claimed_at = '0', deadline = '0',
  attempt = '0', tries = '0', failures = '0', crashes = '0', suspicions = '0', trial = '0', kept_at = '0',
  worked_ms = '0', wasted_ms = '0', written_bytes = '0', log_elsewhere = '0', published_at = '0',
  patience_ms = '0', pause = '0', due_before = '0', created_at = '0', updated_at = '0', finished_at = '0',
  status = false,
}

local function get(run, ...)
  local values, names = redis.call('HMGET', key(run), ...), {...}
  for i, name in ipairs(names) do
    if not values[i] then
      local default = DEFAULTS[name]
      values[i] = default == nil and '' or default
    end
  end
  return values
end

local function set(run, ...)
  redis.call('HSET', key(run), 'updated_at', NOW, ...)
end

-- Whether a run stands at one of two places, which are as Head.place has them; empty: wherever it stands.
-- Who asks answers moved_on(run) else.
local function stands(run, place, after)
  local parts = get(run, 'created_at', 'timeline', 'sequence', 'token', 'attempt', 'pause', 'status')
  for i = 1, #parts do
    parts[i] = parts[i] or '0'
  end
  local now = table.concat(parts, '.')
  return place == '' or now == place or now == after
end

local function moved_on(run)
  return {'moved on', redis.call('HGET', key(run), 'status')}
end

-- Listings: one sorted set a status, one a pipeline and one a tag, by time of creation.
local function index(run, from, to, created)
  if from == to then
    return
  elseif from then
    redis.call('ZREM', P .. 'status:' .. from, run)
  end
  redis.call('ZADD', P .. 'status:' .. to, created, run)
end

-- Failed runs stand in the group of their failure, by the time at which they failed; the groups by the
-- time of the last failure.
local function group_of(run)
  local error = redis.call('HGET', key(run), 'error')
  local known, failure = pcall(cjson.decode, error or '')
  local group = known and type(failure) == 'table' and failure.group
  return type(group) == 'string' and group or ''
end

local function leave_group(run)
  local group = group_of(run)
  redis.call('ZREM', P .. 'group:' .. group, run)
  local last = redis.call('ZREVRANGE', P .. 'group:' .. group, 0, 0, 'WITHSCORES')
  if last[2] then
    redis.call('ZADD', P .. 'groups', last[2], group)
  else
    redis.call('ZREM', P .. 'groups', group)
  end
end

local function join_group(run)
  local group, at = group_of(run), tonumber(redis.call('HGET', key(run), 'finished_at')) or NOW
  redis.call('ZADD', P .. 'group:' .. group, at, run)
  redis.call('ZADD', P .. 'groups', 'GT', at, group)
end

local function become(run, status, ...)
  local was, created = unpack(get(run, 'status', 'created_at'))
  if was == 'failed' and status ~= 'failed' then
    leave_group(run)
  end
  index(run, was, status, created)
  set(run, 'status', status, ...)
  if status == 'failed' or status == 'completed' or status == 'cancelled' then
    redis.call('ZREM', P .. 'struggling', run)
  end
  if status == 'failed' and was ~= 'failed' then
    join_group(run)
  end
end

local function due(run, at)
  redis.call('ZADD', P .. 'due', at, run)
end

local function undue(run)
  redis.call('ZREM', P .. 'due', run)
end

-- Nothing more happens to a run by itself. Where its log is elsewhere, the log has to be told.
local function rest(run)
  if redis.call('HGET', key(run), 'log_elsewhere') == '1' then
    due(run, NOW)
  else
    undue(run)
  end
end

-- Where the one suspect that a host has on trial is noted, by the key of its head; a worker is named
-- host:pid. The key lies outside the shards, because what a crash takes along knows none.
local function dock(worker)
  return 'milepost:trial:' .. (worker:match('^(.*):%d+$') or worker)
end

local function end_trial(run, worker)
  if redis.call('GET', dock(worker)) == key(run) then
    redis.call('DEL', dock(worker))
  end
end

-- Add amounts by unit, written as JSON; times is 1, or -1 to take them away.
local function add(sum, more, times)
  local total = sum ~= '' and cjson.decode(sum) or {}
  for unit, amount in pairs(more ~= '' and cjson.decode(more) or {}) do
    total[unit] = (total[unit] or 0) + amount * times
    if total[unit] == 0 then
      total[unit] = nil
    end
  end
  return next(total) and cjson.encode(total) or ''
end

-- Give an owner the right to run the stage due, counting the attempt.
local function give(run, owner, nonce, ordinal, worker, lapse)
  local status, created, limit, token, attempt, tries =
    unpack(get(run, 'status', 'created_at', 'time_limit_ms', 'token', 'attempt', 'tries'))
  local look = NOW + lapse
  local deadline = tonumber(limit) > 0 and NOW + limit or 0
  redis.call('HSET', P .. 'claims:' .. owner, nonce, ordinal .. ' ' .. run)
  redis.call('ZADD', P .. 'owners', 'GT', look, owner)
  index(run, status, 'running', created)
  set(run, 'status', 'running', 'owner', owner, 'nonce', nonce, 'worker', worker, 'token', token + 1,
    'attempt', attempt + 1, 'tries', tries + 1, 'claimed_at', NOW, 'deadline', deadline)
  due(run, deadline > 0 and math.min(deadline, look) or look)
end

-- Forget the claim on a run. The old holder's token and nonce are worth nothing from here on. What it spent
-- before it last kept something was of use, the rest was not; nobody knows of it after its owner's time.
local function unclaim(run)
  local owner, nonce, trial, worker, claimed, kept_at, worked, wasted, try, kept, useful, lost = unpack(get(run,
    'owner', 'nonce', 'trial', 'worker', 'claimed_at', 'kept_at', 'worked_ms', 'wasted_ms', 'spent_try',
    'spent_kept', 'spent_useful', 'spent_wasted'))
  if nonce ~= '' then
    local heard = tonumber(redis.call('ZSCORE', P .. 'owners', owner) or NOW)
    local ended, began = math.min(NOW, heard), tonumber(claimed)
    local mark = math.max(began, tonumber(kept_at))
    redis.call('HDEL', P .. 'claims:' .. owner, nonce)
    redis.call('HSET', key(run), 'owner', '', 'nonce', '', 'kept_at', 0,
      'worked_ms', worked + mark - began, 'wasted_ms', wasted + math.max(0, ended - mark))
    if try ~= '' then
      redis.call('HSET', key(run), 'spent_try', '', 'spent_kept', '', 'spent_useful', add(useful, kept, 1),
        'spent_wasted', add(lost, add(try, kept, -1), 1))
    end
  end
  if trial == '1' then
    end_trial(run, worker)
  end
end

local function holds(run, token, nonce)
  local stands = get(run, 'token', 'nonce')
  return stands[1] == token and stands[2] == nonce and nonce ~= ''
end

-- Workers take from the right. Who goes ahead has waited already: for its stage, which is begun again.
local function push(queue, payload, ahead)
  if queue ~= '' then
    redis.call(ahead and 'RPUSH' or 'LPUSH', queue, payload)
    return NOW
  end
  return 0
end

-- The stage due waits for a message. published = 0 says that none is known to be on the queue.
local function enqueue(run, published, look_again, ...)
  if redis.call('HGET', key(run), 'pause') == '1' then
    become(run, 'paused', 'published_at', 0, ...)
    rest(run)
  else
    become(run, 'queued', 'published_at', published, ...)
    due(run, look_again)
  end
end

local function set_aside(run, error)
  unclaim(run)
  become(run, 'failed', 'error', error, 'finished_at', NOW)
  rest(run)
end

-- Take the claim away from a holder that is gone, and count what that says about the stage:
-- 'child' and 'timeout' are its own doing, 'owner' makes it a suspect, 'leaving' and 'leak' say nothing.
-- A suspect that has been seen max_crashes times is put on trial: a host runs one such at a time, so that
-- those that died beside the culprit get through. A newcomer that kills it there needs as many deaths to
-- become a suspect itself; only then, one death later, is the run set aside.
local function take_away(run, cause, max_crashes)
  local status, crashes, suspicions, trial, stage, worker, pipeline =
    unpack(get(run, 'status', 'crashes', 'suspicions', 'trial', 'stage', 'worker', 'pipeline'))
  if status ~= 'running' then
    return false
  end
  crashes, suspicions, max_crashes = tonumber(crashes), tonumber(suspicions), tonumber(max_crashes)
  if cause == 'child' or cause == 'timeout' then
    crashes = crashes + 1
  elseif cause == 'owner' then
    suspicions = suspicions + 1
  end
  unclaim(run)
  set(run, 'crashes', crashes, 'suspicions', suspicions, 'last_cause', cause)
  if crashes + suspicions > 0 then
    redis.call('ZADD', P .. 'struggling', crashes + suspicions, run)
  end
  if crashes >= max_crashes or suspicions > 2 * max_crashes then
    local kind = cause == 'timeout' and 'StageTimeout' or 'WorkerLost'
    set_aside(run, cjson.encode({
      type = kind,
      stage = stage,
      group = redis.sha1hex(pipeline .. '\n' .. stage .. '\n' .. kind .. '\n'):sub(1, 12),
      message = 'Stage ' .. stage .. (cause == 'timeout' and ' ran out of time ' or ' lost its worker ')
        .. (crashes + suspicions) .. ' times without progress (last: ' .. (worker ~= '' and worker or '?') .. ').',
    }))
  else
    enqueue(run, 0, NOW, 'trial', suspicions >= max_crashes and 1 or 0)
  end
  return true
end

-- Free all that a gone owner held. Returns the ids of the runs.
local function bury(owner, cause, max_crashes)
  local claims, freed = redis.call('HGETALL', P .. 'claims:' .. owner), {}
  if redis.call('SISMEMBER', P .. 'leaving', owner) == 1 then
    cause = 'leaving'
  end
  for i = 2, #claims, 2 do
    local run = claims[i]:match('^%d+ (.*)$')
    if redis.call('HGET', key(run), 'nonce') == claims[i - 1] and take_away(run, cause, max_crashes) then
      freed[#freed + 1] = run
    end
  end
  redis.call('DEL', P .. 'claims:' .. owner)
  redis.call('ZREM', P .. 'owners', owner)
  redis.call('SREM', P .. 'leaving', owner)
  redis.call('SREM', P .. 'spared', owner)
  return freed
end

local function index_new(run, pipeline, tenant, tags, created)
  redis.call('SADD', P .. 'pipelines', pipeline)
  redis.call('ZADD', P .. 'runs', created, run)
  redis.call('ZADD', P .. 'pipeline:' .. pipeline, created, run)
  if tenant ~= '' then
    redis.call('ZADD', P .. 'tenant:' .. tenant, created, run)
  end
  for _, tag in ipairs(tags) do
    redis.call('ZADD', P .. 'tag:' .. tag, created, run)
  end
end

-- Write a record of the log that lives in this Redis. False if another record has the path.
local function write_log(headers, bodies, paths, logs, run, path, header, body)
  if header == '' then
    return true
  end
  if redis.call('HSETNX', headers, path, header) == 0 then
    return redis.call('HGET', headers, path) == header
  end
  redis.call('HSET', bodies, path, body)
  if redis.call('ZADD', paths, 0, path) == 1 and redis.call('ZCARD', paths) == 1 then
    redis.call('ZADD', logs, 0, run)
  end
  return true
end

-- A run that has ended is kept for ttl milliseconds (0: for good) with its log. The head does not expire
-- by itself, because the indexes it is in are known only from it: the first look after that forgets it.
local function retain(run, ttl)
  for _, part in ipairs({'headers:', 'bodies:', 'paths:'}) do
    local name = P .. 'log:' .. part .. run
    if tonumber(ttl) > 0 then
      redis.call('PEXPIRE', name, ttl)
    else
      redis.call('PERSIST', name)
    end
  end
  if tonumber(ttl) > 0 then
    due(run, NOW + ttl)
  else
    undue(run)
  end
end

-- Remove the head, what points to it, and its log in this Redis.
local function forget(run)
  local status, tags, pipeline, tenant = unpack(get(run, 'status', 'tags', 'pipeline', 'tenant'))
  if status == 'failed' then
    leave_group(run)
  end
  redis.call('ZREM', P .. 'status:' .. status, run)
  redis.call('ZREM', P .. 'runs', run)
  redis.call('ZREM', P .. 'struggling', run)
  redis.call('ZREM', P .. 'pipeline:' .. pipeline, run)
  if redis.call('EXISTS', P .. 'pipeline:' .. pipeline) == 0 then
    redis.call('SREM', P .. 'pipelines', pipeline)
  end
  if tenant ~= '' then
    redis.call('ZREM', P .. 'tenant:' .. tenant, run)
  end
  for _, tag in ipairs(cjson.decode(tags)) do
    redis.call('ZREM', P .. 'tag:' .. tag, run)
  end
  undue(run)
  redis.call('UNLINK', key(run), P .. 'notes:' .. run, P .. 'log:headers:' .. run, P .. 'log:bodies:' .. run, P .. 'log:paths:' .. run)
  redis.call('ZREM', P .. 'logs', run)
end
