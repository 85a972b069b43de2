-- needs: gateway
-- args: gateway, number, final
return ok(batch(gateway(args[1]), args[2], args[3]) or pack(nil))
