# Writes what mclust makes of conjugate priors and of uniform noise. Run in this folder, after
# mclust_reference.R:
#
#   Rscript priors_and_noise_reference.R
#
# It needs R with the packages mclust (the values kept here are those of 6.0.0) and jsonlite.

suppressPackageStartupMessages(library(mclust))
library(jsonlite)

rows_of <- function(matrix) unname(lapply(seq_len(nrow(matrix)), function(i) matrix[i, ]))

# EM from memberships until the log-likelihood is at rest to the last digits.
fit_of <- function(x, model, z, ...) {
  control <- emControl(tol = c(1e-15, 1e-15), itmax = c(20000, 20000))
  fit <- me(x, modelName = model, z = z, control = control, ...)
  variance <- fit$parameters$variance
  sigma <- variance[["sigma"]] # not $sigma, which finds sigmasq
  if (is.null(sigma)) sigma <- array(rep_len(variance$sigmasq, fit$G), c(1, 1, fit$G))
  list(
    log_likelihood = fit$loglik,
    bic = bic(model, fit$loglik, fit$n, fit$d, fit$G, noise = !is.null(list(...)$Vinv)),
    weights = fit$parameters$pro, # with noise one more, the last
    means = rows_of(t(matrix(fit$parameters$mean, ncol = fit$G))),
    covariances = lapply(seq_len(fit$G), function(k) rows_of(matrix(sigma[, , k], ncol = fit$d)))
  )
}

irises <- unname(as.matrix(iris[, 1:4]))
species <- as.integer(iris$Species)
models_with_prior <- c("EII", "VII", "VVI", "EEE", "VVV")
priors <- lapply(setNames(nm = models_with_prior), function(model) {
  fit_of(irises, model, unmap(species), prior = priorControl())
})

# One M-step from the species, of the models where mclust has formulas of its own.
models_apart <- c("EEI", "VEI", "EVI", "EEV", "VEV")
m_steps <- lapply(setNames(nm = models_apart), function(model) {
  once <- emControl(tol = c(1e-5, 1e-14), itmax = c(1, 20000))
  fit <- me(irises, modelName = model, z = unmap(species), prior = priorControl(), control = once)
  list(
    means = rows_of(t(fit$parameters$mean)),
    covariances = lapply(1:3, function(k) rows_of(fit$parameters$variance$sigma[, , k]))
  )
})

eruptions <- faithful$eruptions
long <- as.integer(eruptions > 3) + 1
single <- fit_of(eruptions, "V", unmap(long), prior = priorControl())

# Two kinds of eruptions, and rows spread evenly over a wider region.
set.seed(1)
noise <- round(cbind(runif(80, 0, 7), runif(80, 20, 120)), 3)
mixed <- rbind(unname(as.matrix(faithful)), noise)
labels <- c(long, rep(3, nrow(noise))) # 3: noise
volume <- hypvol(mixed)
models_with_noise <- c("EII", "VII", "EEI", "VVI", "EEE", "VVV")
noisy <- lapply(setNames(nm = models_with_noise), function(model) {
  fit_of(mixed, model, unmap(labels), Vinv = 1 / volume)
})
both <- fit_of(mixed, "VVV", unmap(labels), Vinv = 1 / volume, prior = priorControl())

values <- list(
  mclust = as.character(packageVersion("mclust")),
  prior = priors,
  m_steps = m_steps,
  prior_single_feature = single,
  rows_with_noise = rows_of(mixed),
  labels_with_noise = labels - 1,
  volume = volume,
  noise = noisy,
  noise_and_prior = both
)
json <- toJSON(values, digits = NA, auto_unbox = TRUE)
writeLines(gsub(",(\"[A-Za-z_]+\":)", ",\n\\1", json), "mclust_priors_and_noise.json")
