"""The Lua scripts of the Redis store: every step that must be atomic is one script.

A script that a lane runs begins with the fence: it answers false, and has done nothing, if the
lane's epoch is not the caller's, and with an error that begins with LOST if there is no such lane.
"""

ACQUIRE = """
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'commits', 0)
if string.sub(ARGV[1], 1, 6) ~= 'learn.' then redis.call('HSETNX', KEYS[2], ARGV[1], '-inf') end
return redis.call('HGETALL', KEYS[1])
"""

FENCE = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then return redis.error_reply('LOST no such lane') end
if epoch ~= ARGV[1] then return false end
"""

# ARGV[2] numbers the commits of a lease. A commit whose answer was lost is sent again, and the
# first one may still lie in the socket of a dead connection while newer ones are made.
_NEXT_COMMIT = """
local commits = tonumber(redis.call('HGET', KEYS[1], 'commits'))
local number = tonumber(ARGV[2])
if number <= commits then return 0 end
if number > commits + 1 then return redis.error_reply('LOST commits') end
redis.call('HSET', KEYS[1], 'commits', number)
"""

# The number of pairs to set stands at `at`; the pairs follow, then the fields to delete.
_CHANGE_STATE = """
local function change_state(at)
  local last = at + 2 * tonumber(ARGV[at])
  for i = at + 1, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
  for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
end
"""

# ARGV: epoch, commit, position, lane, watermark or '', then n pairs to set, then fields to delete.
COMMIT = (
    FENCE
    + _NEXT_COMMIT
    + _CHANGE_STATE
    + """
redis.call('HSET', KEYS[1], 'position', ARGV[3])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], ARGV[4], ARGV[5]) end
change_state(6)
return 1
"""
)

# The latest mark of the score lanes at rest is kept: it is the time while all of them rest.
REST = (
    FENCE
    + """
local mark = redis.call('HGET', KEYS[2], ARGV[2])
if mark and string.sub(ARGV[2], 1, 6) == 'score.' then
  local latest = redis.call('GET', KEYS[3])
  if not latest or tonumber(mark) > tonumber(latest) then redis.call('SET', KEYS[3], mark) end
end
redis.call('HDEL', KEYS[2], ARGV[2])
return 1
"""
)

# A batch's strings come as one argument: their number, their lengths, their bytes.
UNPACK = """
local function unpack_items(packed)
  local items = {}
  local n = struct.unpack('<I4', packed)
  local at = 5 + 4 * n
  for i = 1, n do
    local size = struct.unpack('<I4', packed, 1 + 4 * i)
    items[i] = string.sub(packed, at, at + size - 1)
    at = at + size
  end
  return items
end
"""

# A call of its own for each field would cost more than what it does: they go by the hundreds.
FIELDS = """
local function each_some(n, some, apply)
  for i = 1, n, some do apply(i, math.min(i + some - 1, n)) end
end
local function values_of(key, fields)
  local values = {}
  each_some(#fields, 1000, function(first, last)
    for i, value in ipairs(redis.call('HMGET', key, unpack(fields, first, last))) do
      values[fields[first + i - 1]] = value or nil
    end
  end)
  return values
end
local function set_pairs(key, pairs)
  each_some(#pairs, 1000, function(first, last)
    redis.call('HSET', key, unpack(pairs, first, last))
  end)
end
"""

# The lane's hash knows its generations by fields `g:<generation>`. Items are taken apart and go to
# a command by the hundreds: calls of their own for each cost more than what they do.
_CHANGE_KEYED = """
local function each_generation(counts, packed, apply)
  local at = 1
  for g, n in string.gmatch(counts, '(-?%d+):(%d+)') do
    local left = tonumber(n)
    while left > 0 do
      local some = math.min(left, 500)
      local items = {struct.unpack('<' .. string.rep('I4c0', some), packed, at)}
      at = table.remove(items)
      apply(g, items)
      left = left - some
    end
  end
end
local function change_keyed(prefix, counts, packed, gone_counts, gone, floor)
  each_generation(gone_counts, gone, function(g, keys)
    redis.call('HDEL', prefix .. g, unpack(keys))
  end)
  each_generation(counts, packed, function(g, pairs)
    redis.call('HSETNX', KEYS[1], 'g:' .. g, '')
    redis.call('HSET', prefix .. g, unpack(pairs))
  end)
  if floor == '' then return end
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local g = string.match(field, '^g:(.*)$')
    if g and tonumber(g) < tonumber(floor) then
      redis.call('UNLINK', prefix .. g)
      redis.call('HDEL', KEYS[1], field)
    end
  end
end
"""

# As COMMIT, and before the state: prefix of the lane's generations; what to set by generation, how
# many items of each and packed; what to delete in the same way; floor or ''.
COMMIT_KEYED = (
    FENCE
    + _NEXT_COMMIT
    + _CHANGE_STATE
    + _CHANGE_KEYED
    + """
redis.call('HSET', KEYS[1], 'position', ARGV[3])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], ARGV[4], ARGV[5]) end
change_keyed(ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11])
change_state(12)
return 1
"""
)

# KEYS: lane. ARGV: epoch, prefix of the lane's generations, packed keys. Answers with (place,
# content) of those that are there.
READ_KEYED = (
    FENCE
    + UNPACK
    + FIELDS
    + """
local prefix, items = ARGV[2], unpack_items(ARGV[3])
local contents = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local g = string.match(field, '^g:(.*)$')
  if g then
    for key, content in pairs(values_of(prefix .. g, items)) do contents[key] = content end
  end
end
local found = {}
for i, key in ipairs(items) do
  if contents[key] then
    found[#found + 1] = i - 1
    found[#found + 1] = contents[key]
  end
end
return found
"""
)

# ARGV: epoch, prefix of pending, packed (generation, event id, record) triples, partition to queue
# for or ''. An id may stand in another generation if its producer sent it twice with two times: the
# first decision stands. Answers with (place, first record) of those there before, which are few.
PUT = (
    FENCE
    + UNPACK
    + FIELDS
    + """
local prefix, items, partition = ARGV[2], unpack_items(ARGV[3]), ARGV[4]
local ids, place_of, first_of = {}, {}, {}
for i = 2, #items, 3 do ids[#ids + 1] = items[i] end
local known = {}
for _, g in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  known[g] = true
  for id, first in pairs(values_of(prefix .. g, ids)) do place_of[id], first_of[id] = g, first end
end
local found, new, queued, n_queued, last = {}, {}, {}, {}, false
local function queue(g, id, record)
  queued[#queued + 1] = string.sub(record, 1, 16) .. struct.pack('<d', tonumber(g)) .. id
  n_queued[g] = (n_queued[g] or 0) + 1
  last = record
end

-- Whether this event comes again, and the queue and the sweeps have not come as far.
local function is_missed(record, first)
  if string.sub(record, 9, 20) ~= string.sub(first, 9, 20) then return false end
  local _, offset = struct.unpack('<dd', first)
  last = last or redis.call('LINDEX', KEYS[3], -1)
  if last and offset <= select(2, struct.unpack('<dd', last)) then return false end
  return offset >= tonumber(redis.call('HGET', KEYS[1], 's:swept') or 0)
end

for i = 1, #items, 3 do
  local g, id, record = items[i], items[i + 1], items[i + 2]
  local first = first_of[id]
  if first then
    found[#found + 1] = (i - 1) / 3
    found[#found + 1] = first
    if partition ~= '' and is_missed(record, first) then queue(place_of[id], id, first) end
  else
    place_of[id], first_of[id] = g, record
    new[g] = new[g] or {}
    table.insert(new[g], id)
    table.insert(new[g], record)
    if partition ~= '' then queue(g, id, record) end
  end
end
for g, records in pairs(new) do
  if not known[g] then redis.call('SADD', KEYS[2], g) end
  set_pairs(prefix .. g, records)
end
each_some(#queued, 1000, function(first, last)
  redis.call('RPUSH', KEYS[3], unpack(queued, first, last))
end)
for g, n in pairs(n_queued) do redis.call('HINCRBY', KEYS[4], partition .. ':' .. g, n) end
return found
"""
)

# KEYS: lane, own generations, watermarks, watermark at rest, queue, unswept.
# ARGV: epoch, prefix of all keys, partition, negative_after, limit.
SWEEP = (
    FENCE
    + """
local prefix, partition = ARGV[2], ARGV[3]
local negative_after, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
local floor = tonumber(redis.call('HGET', KEYS[1], 's:swept') or 0)
local queue = redis.call('LRANGE', KEYS[5], 0, limit - 1)

-- What the last commit has finished leaves the queue, and holds its generation no longer.
local n_done, n_done_of = 0, {}
for _, item in ipairs(queue) do
  local _, offset, g = struct.unpack('<ddd', item)
  if offset >= floor then break end
  n_done = n_done + 1
  n_done_of[g] = (n_done_of[g] or 0) + 1
end
if n_done > 0 then
  redis.call('LTRIM', KEYS[5], n_done, -1)
  queue = redis.call('LRANGE', KEYS[5], 0, limit - 1)
end
for g, n in pairs(n_done_of) do
  local field = partition .. ':' .. string.format('%.0f', g)
  if redis.call('HINCRBY', KEYS[6], field, -n) <= 0 then redis.call('HDEL', KEYS[6], field) end
end

-- Events drive the time; labels that may be on their way hold it back.
local scored, labelled = false, math.huge
local marks = redis.call('HGETALL', KEYS[3])
for i = 1, #marks, 2 do
  local mark = tonumber(marks[i + 1])
  if string.sub(marks[i], 1, 6) == 'score.' then
    scored = math.min(scored or math.huge, mark)
  else
    labelled = math.min(labelled, mark)
  end
end
local time = math.min(scored or tonumber(redis.call('GET', KEYS[4]) or '-inf'), labelled)

local owns = redis.call('SMEMBERS', KEYS[2])
local function labelled_itself(id)
  for _, g in ipairs(owns) do
    if redis.call('HEXISTS', prefix .. 'own:' .. g, id) == 1 then return true end
  end
  return false
end

local silent, last, all_due = {}, floor, true
for _, item in ipairs(queue) do
  local event_time, offset, g, at = struct.unpack('<ddd', item)
  if event_time + negative_after > time then
    all_due = false
    break
  end
  local id = string.sub(item, at)
  g = string.format('%.0f', g)
  local mine = 's' .. partition .. '@' .. string.format('%.0f', offset) .. ':L1'
  if not labelled_itself(id) then
    local key = prefix .. 'claims:' .. g
    local ours = redis.call('HSETNX', key, id, '1;' .. mine .. ';s') == 1
    ours = ours or string.find(redis.call('HGET', key, id), mine, 1, true)
    if ours then
      silent[#silent + 1] = id
      silent[#silent + 1] = redis.call('HGET', prefix .. 'pending:' .. g, id)
    end
  end
  last = offset + 1
end
local more = all_due and #queue == limit
return {silent, string.format('%.0f', floor), string.format('%.0f', last), more and 1 or 0}
"""
)

# KEYS: lane, queue, unswept. ARGV: epoch, partition.
FORGET = (
    FENCE
    + """
redis.call('UNLINK', KEYS[2])
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
  if string.match(field, '^(%d+):') == ARGV[2] then redis.call('HDEL', KEYS[3], field) end
end
return 1
"""
)

# KEYS: watermarks, generations, own generations, unswept. ARGV: prefix, ttl, generation's
# length, generations in a ttl.
EXPIRE = """
local passed = math.huge
local marks = redis.call('HVALS', KEYS[1])
for _, mark in ipairs(marks) do passed = math.min(passed, tonumber(mark)) end
if #marks == 0 then return 0 end
passed = passed - tonumber(ARGV[2])
local held, oldest_held = {}, math.huge
for _, field in ipairs(redis.call('HKEYS', KEYS[4])) do
  local g = string.match(field, ':(.*)$')
  held[g] = true
  oldest_held = math.min(oldest_held, tonumber(g))
end
local n = 0
for _, g in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if (tonumber(g) + 1) * tonumber(ARGV[3]) <= passed and not held[g] then
    redis.call('UNLINK', ARGV[1] .. 'pending:' .. g, ARGV[1] .. 'claims:' .. g)
    redis.call('SREM', KEYS[2], g)
    n = n + 1
  end
end
for _, g in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  -- A label may come up to a TTL before its event, which silence must not take for unlabelled.
  local free = oldest_held > tonumber(g) + tonumber(ARGV[4])
  if (tonumber(g) + 1) * tonumber(ARGV[3]) <= passed and free then
    redis.call('UNLINK', ARGV[1] .. 'own:' .. g)
    redis.call('SREM', KEYS[3], g)
  end
end
return n
"""

# ARGV: epoch, commit, position, version id, meta, blob, versions to keep, prefix of their keys,
# '1' to replace a version of that id, ids not to drop with spaces between, then state as in COMMIT.
CUT = (
    FENCE
    + _NEXT_COMMIT
    + _CHANGE_STATE
    + """
redis.call('HSET', KEYS[1], 'position', ARGV[3], 's:version', ARGV[4])
local key = ARGV[8] .. ARGV[4]
if ARGV[9] == '1' or redis.call('EXISTS', key) == 0 then
  redis.call('HSET', key, 'meta', ARGV[5], 'blob', ARGV[6])
  redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), ARGV[4])
end
redis.call('SET', KEYS[3], ARGV[4])
change_state(11)
local kept = {}
for id in string.gmatch(ARGV[10], '%S+') do kept[id] = true end
for _, id in ipairs(redis.call('HVALS', KEYS[5])) do kept[id] = true end
local extra = redis.call('ZRANGE', KEYS[2], 0, -1 - tonumber(ARGV[7]))
for _, id in ipairs(extra) do
  if not kept[id] then
    redis.call('UNLINK', ARGV[8] .. id)
    redis.call('ZREM', KEYS[2], id)
  end
end
return 1
"""
)

# ARGV: version id, meta, blob. Asks the list of versions and not the key: that may be what is lost.
RESTORE = """
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'meta', ARGV[2], 'blob', ARGV[3])
return 1
"""
