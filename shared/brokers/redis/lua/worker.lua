-- needs: base
-- Worker processes: the leases each holds and what its next poll is to be told.
local WORKERS, SEATS = K .. 'workers', K .. 'seats' -- seats: the free slots of those whose poll waits
local workers = {}

local function worker(name, make)
    local w = workers[name]
    if w ~= nil then return w end
    local key = K .. 'wk:' .. name
    local f = call('HMGET', key, 'alone', 'parked', 'told', 'polls', 'answered', 'free', 'news', 'since')
    if not f[1] then
        if not make then return nil end
        f = {'0', '0', '0', '0', '0', '0', false, '0'}
        call('ZADD', WORKERS, now, name)
    end
    local news = f[7] and cmsgpack.unpack(f[7]) or {{}, {}, {}, {}, {}}
    w = {name = name, key = key, alone = f[1] == '1', parked = f[2] == '1', told = f[3] == '1',
         polls = tonumber(f[4]), answered = tonumber(f[5]), free = tonumber(f[6]), since = tonumber(f[8]),
         leases = news[1], cancelled = news[2], lost = news[3], unseen = news[4], unseen_cancels = news[5]}
    workers[name] = w
    return w
end

local function tell_worker(w) -- once until its next poll
    if w.parked and not w.told then
        call('PUBLISH', K .. 'wake:' .. w.name, '')
        call('ZREM', SEATS, w.name)
        w.told = true
    end
end

-- Who has been told that there is something must fetch it before it is given more, and nobody's poll waits for longer
-- than a third of a lease: what a dead process seems to wait for is to be lost to others for as short as may be.
local function reseat(w)
    if w.parked and w.free > 0 and not w.told then
        call('ZADD', SEATS, w.free, w.name)
    else
        call('ZREM', SEATS, w.name)
    end
end

local function holds_lease(w, n) return call('SISMEMBER', w.key .. ':h', num(n)) == 1 end

local function remove_worker(w)
    if w.parked then call('PUBLISH', K .. 'wake:' .. w.name, '') end
    call('DEL', w.key, w.key .. ':h')
    call('ZREM', WORKERS, w.name)
    call('ZREM', SEATS, w.name)
    workers[w.name] = nil
end

savers[#savers + 1] = function()
    for _, w in pairs(workers) do
        call('HSET', w.key, 'alone', w.alone and '1' or '0', 'parked', w.parked and '1' or '0', 'told',
             w.told and '1' or '0', 'polls', w.polls, 'answered', w.answered, 'free', w.free, 'since', w.since, 'news',
             pack({w.leases, w.cancelled, w.lost, w.unseen, w.unseen_cancels}))
    end
end
