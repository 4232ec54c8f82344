"""The Lua scripts of the Redis store that claim events for labels.

A claim is text, `<revision>;<entries>;<kind><truth>`: the revision in force, who made revisions or
was turned away, and whether a label (`l`) or silence (`s`) said so last. An entry,
`<lane>@<offset>:<verdict>`, is kept until its lane has committed that offset, since until then a
crash may bring the label again; so a claim holds what is in flight and no history.
"""

from models.stores.base import GIVEN_UP
from models.stores.scripts import FENCE, UNPACK

# ARGV: epoch, prefix of all keys, the lane's partition, 'learn' or 'refuse', packed items, how many
# a label: event id; least event time as a double, then the offset; truth; own generation or '',
# left out where no label of the batch has one.
CLAIM = (
    FENCE
    + UNPACK
    + """
local prefix, lane, policy, items = ARGV[2], ARGV[3], ARGV[4], unpack_items(ARGV[5])
local stride = tonumber(ARGV[6])
local generations = redis.call('SMEMBERS', KEYS[2])
local owns = redis.call('SMEMBERS', KEYS[3])
-- Offsets of this batch, which is published in its order. Only what stands before a label in it can
-- be revised by it: a claim that was given up, and came late, may have let a later one go first.
local before_it = {}

-- Whether what this entry made is in the examples log, and can't be asked for again.
local function settled(from, offset)
  if string.sub(from, 1, 1) == 's' then
    local key = prefix .. 'lane:score.' .. string.sub(from, 2)
    return tonumber(redis.call('HGET', key, 's:swept') or 0) > tonumber(offset)
  end
  local key = prefix .. 'lane:label.' .. from
  if tonumber(redis.call('HGET', key, 'position') or 0) <= tonumber(offset) then return false end
  for _, waits in ipairs({'s:', 's:"""
    + GIVEN_UP
    + """'}) do
    if redis.call('HEXISTS', key, waits .. offset) == 1 then return false end
  end
  return true
end

-- What this very entry was answered, if its claim is kept.
local function answered(entries, before, offset)
  for from, at, verdict in string.gmatch(entries, '([^@,]+)@(%d+):(%w+)') do
    if from == lane and at == offset then return verdict == 'R' and 'R' .. before or verdict end
  end
end

local function parts(claim) return string.match(claim, '^(%d+);([^;]*);(%a)(.*)$') end

local function decide(key, id, offset, truth, how)
  local mine = lane .. '@' .. offset .. ':'
  if redis.call('HSETNX', key, id, '1;' .. mine .. how .. '1;l' .. truth) == 1 then
    return how .. '1'
  end
  local revision, entries, kind, before = parts(redis.call('HGET', key, id))
  local answer = answered(entries, before, offset)
  if answer then return answer end
  local kept, blocked = {}, false
  for from, at, verdict in string.gmatch(entries, '([^@,]+)@(%d+):(%w+)') do
    if not settled(from, at) then
      kept[#kept + 1] = from .. '@' .. at .. ':' .. verdict
      local revised = verdict ~= 'D' and verdict ~= 'R'
      blocked = blocked or revised and not (from == lane and before_it[at])
    end
  end
  local verdict = false
  if kind == 'l' and before == truth then
    verdict = 'D'
  elseif kind == 'l' and policy == 'refuse' then
    verdict = 'R'
  elseif blocked then
    return 'B'
  else
    revision = tonumber(revision) + 1
    verdict = how .. revision
    kind = 'l'
  end
  kept[#kept + 1] = mine .. verdict
  local said = kind .. (verdict == 'R' and before or truth)
  redis.call('HSET', key, id, revision .. ';' .. table.concat(kept, ',') .. ';' .. said)
  return verdict == 'R' and 'R' .. before or verdict
end

-- A label that neither comes nor waits claims nothing any more: it is settled and its claim was
-- given up and comes late, or it is given up itself. It is told what it was answered before.
local position = tonumber(redis.call('HGET', KEYS[1], 'position') or 0)

local function look_up(id, offset)
  local record, answer = false, 'D'
  for kind, known in pairs({['claims:'] = generations, ['own:'] = owns}) do
    for _, g in ipairs(known) do
      record = record or kind == 'claims:' and redis.call('HGET', prefix .. 'pending:' .. g, id)
      local claim = redis.call('HGET', prefix .. kind .. g, id)
      if claim then
        local _, entries, _, before = parts(claim)
        answer = answered(entries, before, offset) or answer
      end
    end
  end
  return record, answer
end

local function claim(id, offset, truth, least, own)
  if tonumber(offset) < position and redis.call('HEXISTS', KEYS[1], 's:' .. offset) == 0 then
    return look_up(id, offset)
  end
  local key = false
  for _, g in ipairs(owns) do
    if redis.call('HEXISTS', prefix .. 'own:' .. g, id) == 1 then key = prefix .. 'own:' .. g end
  end
  for _, g in ipairs(generations) do
    local record = redis.call('HGET', prefix .. 'pending:' .. g, id)
    if record then
      if struct.unpack('<d', record) < least then return record, 'X' end
      return record, decide(key or prefix .. 'claims:' .. g, id, offset, truth, 'L')
    end
  end
  if not own or own == '' then return false, '' end
  if not key then
    key = prefix .. 'own:' .. own
    if redis.call('SADD', KEYS[3], own) == 1 then owns[#owns + 1] = own end
  end
  return false, decide(key, id, offset, truth, 'F')
end

local found = {}
for i = 1, #items, stride do
  local least, at = struct.unpack('<d', items[i + 1])
  local offset, own = string.sub(items[i + 1], at), stride > 3 and items[i + 3]
  local record, verdict = claim(items[i], offset, items[i + 2], least, own)
  found[#found + 1] = record
  found[#found + 1] = verdict
  before_it[offset] = true
end
return {found, redis.call('HGETALL', KEYS[4])}
"""
)

# KEYS: lane, generations, own generations. ARGV: epoch, prefix of all keys, packed (event id,
# claim, generation, '1' if it needs no pending event), in the order of the examples log.
RESTORE_CLAIMS = (
    FENCE
    + UNPACK
    + """
local prefix, items = ARGV[2], unpack_items(ARGV[3])
local generations, owns = redis.call('SMEMBERS', KEYS[2]), redis.call('SMEMBERS', KEYS[3])
local function kept_in(kind, known, id)
  for _, g in ipairs(known) do
    if redis.call('HEXISTS', prefix .. kind .. g, id) == 1 then return g end
  end
end
for i = 1, #items, 4 do
  local id, claim, g, own = items[i], items[i + 1], items[i + 2], items[i + 3]
  local own_g = kept_in('own:', owns, id)
  local event_g = not own_g and own == '0' and kept_in('pending:', generations, id)
  if not (own_g or event_g) and redis.call('SADD', KEYS[3], g) == 1 then owns[#owns + 1] = g end
  local key = event_g and 'claims:' .. event_g or 'own:' .. (own_g or g)
  redis.call('HSET', prefix .. key, id, claim)
end
return 1
"""
)
