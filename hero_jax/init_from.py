def initial_params(experiment):
    return None
