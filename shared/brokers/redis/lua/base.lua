-- What every script begins with: the arguments, the time, and how answers are packed.
-- All keys share one hash tag. Times are seconds, generations in keys are decimal strings.
local call, pack = redis.call, cmsgpack.pack
local floor, format, char, concat = math.floor, string.format, string.char, table.concat
local K, META = '{llm-chat}:', '{llm-chat}:meta'
local TERMINAL = 4 -- shared.messages.TERMINAL
local args = cmsgpack.unpack(ARGV[1])
local function blob(at) return ARGV[4 + at] end -- the binary arguments, which cmsgpack cannot unpack
local now, wall, epoch, kept = tonumber(ARGV[3]), tonumber(ARGV[4]), nil, 0
do
    local meta = call('HMGET', META, 'epoch', 'ticked', 'offset', 'kept')
    epoch, kept = meta[1], tonumber(meta[4] or 0)
    if not epoch then return {3} end -- this memory is new, or was emptied under us
    if not now then
        local time = call('TIME')
        wall = time[1] * 1000 + floor(time[2] / 1000)
        now = time[1] + time[2] / 1000000 + tonumber(meta[3] or 0)
        now = math.max(now, tonumber(meta[2] or 0)) -- the server's clock may be set back
    end
end
local owed = {} -- terminals that the caller must make: a digest over the text cannot be computed here
local savers = {} -- called when all is done

local function num(x) return format('%.0f', x) end

local function arr(n)
    if n < 16 then return char(0x90 + n) end
    if n < 65536 then return char(0xdc, floor(n / 256), n % 256) end
    return char(0xdd, floor(n / 16777216), floor(n / 65536) % 256, floor(n / 256) % 256, n % 256)
end

local function list(packed) return arr(#packed) .. concat(packed) end

local function bin(s)
    local n = #s
    if n < 256 then return char(0xc4, n) .. s end
    if n < 65536 then return char(0xc5, floor(n / 256), n % 256) .. s end
    return char(0xc6, floor(n / 16777216), floor(n / 65536) % 256, floor(n / 256) % 256, n % 256) .. s
end

local function keep(...)
    for _, key in ipairs({...}) do call('EXPIRE', key, LIMIT.ttl) end
end

local function ok(payload)
    for _, save in ipairs(savers) do save() end
    return {0, payload, unpack(owed)}
end

local function refuse(code, detail) return {1, code, detail or 0} end

local function head(item) -- offset of the events, session, generation, attempt, nonce, id, first, count, flags
    return cmsgpack.unpack_limit(item, 8, 1)
end

local random = 0
local function nonce() -- no secret: it only tells one memory's attempts from another's
    random = random + 1
    return redis.sha1hex(ARGV[2] .. random):sub(1, 8)
end

local function life() -- the epoch, and which life of a server that may have lost its last writes: for tokens
    local lives = call('HGET', META, 'lives')
    return lives == '1' and epoch or epoch .. '.' .. lives
end
