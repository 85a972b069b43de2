-- needs: base
-- What nobody could complete or understand, with its reason.
local DEAD = K .. 'dead'

local function bury_letter(reason, fields)
    local entry = {'reason', reason}
    for name, value in pairs(fields) do
        entry[#entry + 1] = name
        entry[#entry + 1] = value
    end
    call('XADD', DEAD, 'MAXLEN', '~', LIMIT.dead, '*', unpack(entry))
    call('EXPIRE', DEAD, LIMIT.dead_ttl)
end
