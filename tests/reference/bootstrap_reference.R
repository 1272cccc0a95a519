# Writes what mclust finds of the uncertainty of fits by resampling. Run in this folder:
#
#   Rscript bootstrap_reference.R
#
# It needs R with the packages mclust (the values kept here are those of 6.0.0) and jsonlite; the
# tests need neither. It prints, and does not keep, seconds.

suppressPackageStartupMessages(library(mclust))
library(jsonlite)

n_resamples <- 1999

features <- function(name) {
  table <- read.csv(paste0(name, ".csv"))
  x <- as.matrix(table[setdiff(names(table), "class")])
  dimnames(x) <- NULL
  x
}

rows_of <- function(matrix) unname(lapply(seq_len(nrow(matrix)), function(i) matrix[i, ]))
matrices_of <- function(array) unname(lapply(seq_len(dim(array)[3]), function(k) rows_of(array[, , k])))

parameters_of <- function(weights, means, covariances) {
  list(
    weights = as.vector(unname(weights)),
    means = rows_of(unname(t(means))),
    covariances = matrices_of(unname(covariances))
  )
}

errors_of <- function(fit, type) {
  set.seed(1)
  seconds <- system.time(
    boot <- MclustBootstrap(fit, nboot = n_resamples, type = type, verbose = FALSE)
  )[["elapsed"]]
  cat(sprintf("%s %d, %s: %.1f s\n", fit$modelName, fit$G, type, seconds))
  se <- summary(boot, what = "se")
  ci <- summary(boot, what = "ci", conf.level = 0.95)
  interval <- function(which) {
    parameters_of(ci$pro[which, ], ci$mean[which, , ], diagonals(ci$variance, which, dim(se$variance)))
  }
  # Intervals are given of the variances alone.
  diagonals <- function(variance, which, shape) {
    matrices <- array(NA, shape)
    for (k in seq_len(shape[3])) diag(matrices[, , k]) <- variance[which, , k]
    matrices
  }
  list(
    standard_errors = parameters_of(se$pro, se$mean, se$variance),
    low = interval(1), high = interval(2)
  )
}

bootstrap_of <- function(x, model, n_components, types) {
  fit <- Mclust(x, G = n_components, modelNames = model, verbose = FALSE)
  list(
    model = model,
    fitted = with(fit$parameters, parameters_of(pro, mean, variance$sigma)),
    kinds = lapply(setNames(nm = types), function(type) errors_of(fit, type))
  )
}

ratio_of <- function(x, model, most) {
  set.seed(1)
  seconds <- system.time(
    test <- mclustBootstrapLRT(x, modelName = model, nboot = 999, maxG = most, verbose = FALSE)
  )[["elapsed"]]
  cat(sprintf("ratio test, %s: %.1f s\n", model, seconds))
  list(
    model = model, statistics = test$obs, p_values = I(as.vector(test$p.value)),
    deciles = unname(lapply(
      seq_along(test$obs), function(i) unname(quantile(test$boot[, i], seq(0.1, 0.9, 0.1)))
    ))
  )
}

faithful <- features("faithful")
iris <- features("iris")
values <- list(
  mclust = as.character(packageVersion("mclust")),
  n_resamples = n_resamples,
  faithful_VVV_2 = bootstrap_of(faithful, "VVV", 2, c("bs", "wlbs", "pb", "jk")),
  faithful_EEE_3 = bootstrap_of(faithful, "EEE", 3, "bs"),
  iris_VVI_3 = bootstrap_of(iris, "VVI", 3, c("bs", "wlbs")),
  ratio_faithful = ratio_of(faithful, "VVV", 3),
  ratio_iris = ratio_of(iris, "VVI", 4)
)
json <- toJSON(values, digits = NA, auto_unbox = TRUE, na = "null")
writeLines(gsub(",\"", ",\n\"", json), "bootstrap.json")
