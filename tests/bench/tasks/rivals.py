RIVALS = []
